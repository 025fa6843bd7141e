"""Operations on webhook endpoints and their deliveries, and on the inbox of a sandbox."""
