"""What happens to subscriptions, invoices and payments as time passes."""
