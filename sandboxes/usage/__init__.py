"""Resource usage and request counts: recorded by sweeps, returned as time series."""
