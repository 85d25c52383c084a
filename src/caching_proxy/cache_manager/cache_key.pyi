class Variant:
    accept: bytes | None
    accept_encoding: bytes | None
    accept_language: bytes | None
    extra: bytes
    text: bytes

class Variants:
    plain: Variant
    def of(
        self,
        accept: bytes | None,
        accept_encoding: bytes | None,
        accept_language: bytes | None,
        extra: bytes = b"",
    ) -> Variant: ...

def slice_url(url: bytes, number: int) -> bytes: ...
def whole_url(url: bytes) -> bytes: ...
def key_digest(url: bytes, variant: Variant) -> bytes: ...
def stored_name(
    url: bytes, variant: Variant, selecting: tuple[tuple[bytes, bytes | None], ...] | None
) -> bytes: ...
