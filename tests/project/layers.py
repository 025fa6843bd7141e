"""The layers of the portal's packages."""

LAYERS = [
    {"lib"},
    {"runtime"},
    {"documentation", "encryption", "stellar"},
    {"models"},
    {"blueprints"},
    {"accounts", "core", "explorer", "gateway"},
    {"metrics", "notifications", "usage"},
    {"operators", "representations", "worker"},
    {"pool", "webhooks"},
    {"actions"},
    {"checks", "preparation", "reaper"},
    {"authoring", "doctor"},
    {"admin", "api", "views"},
    {"apps", "management", "middleware", "templatetags", "urls"},
]
"""Each part of `sandboxes` may import from the layers above it in this list, and from itself."""
