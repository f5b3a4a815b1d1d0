"""The web monitor: a page that watches the engine, and a service beside it (extra `monitor`)."""
