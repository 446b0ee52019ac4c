from ...support.api_service import registry, serve, service  # noqa: F401
