# The seed's dates are relative to a setting of the session; everything is one transaction.
psql -v ON_ERROR_STOP=1 --single-transaction \
    -c "SELECT set_config('sandbox.launched_at', now()::text, false)" \
    -f /docker-entrypoint-initdb.d/seed.sql
