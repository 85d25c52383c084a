"""HTTP without input or output: messages, fields, dates, negotiation, targets, forwarding."""
