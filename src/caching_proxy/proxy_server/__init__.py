"""The data plane: clients' connections, the way of a request, connections to the origin."""
