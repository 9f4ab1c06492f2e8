"""Star's page in a real headless Chromium."""
