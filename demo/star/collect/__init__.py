"""The collector: it asks every probe what it reaches, and serves that as REST and as a page."""
