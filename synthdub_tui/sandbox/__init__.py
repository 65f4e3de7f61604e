"""A local stand-in for the service, for the demo and the tests."""
