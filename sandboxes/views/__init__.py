"""Function views of the portal's pages; they call `sandboxes.actions` for every change."""
