"""Which upstream server answers a request."""
