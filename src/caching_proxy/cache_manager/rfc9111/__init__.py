"""RFC 9111 as pure functions: no clock is read, nothing is stored; times are whole seconds."""
