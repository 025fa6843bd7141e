-- An empty database that waits for the next reset. Copying files is cheaper here than
-- writing the copy to the log.
CREATE DATABASE billing_next TEMPLATE billing_template OWNER developer STRATEGY file_copy;
