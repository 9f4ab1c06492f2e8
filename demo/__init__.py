"""The embedded cluster: hosts, etcd, Marathon's stand-in and the story told on them."""
