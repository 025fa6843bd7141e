"""How people get an account, and what protects it: allauth does it, and this is what we decide."""
