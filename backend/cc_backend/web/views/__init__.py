"""The views: read the address, ask the services, show a template."""
