"""The Star demo's two programs: the probe that is reached and the collector."""
