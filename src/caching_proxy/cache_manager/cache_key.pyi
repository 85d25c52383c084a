class Variant:
    accept: bytes | None
    accept_encoding: bytes | None
    accept_language: bytes | None
    text: bytes

class Variants:
    plain: Variant
    def of(
        self, accept: bytes | None, accept_encoding: bytes | None, accept_language: bytes | None
    ) -> Variant: ...

def key_digest(url: bytes, variant: Variant) -> bytes: ...
