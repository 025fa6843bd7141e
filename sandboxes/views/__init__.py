"""The pages: function views that authorise, act and render. All acts are `sandboxes.actions`."""
