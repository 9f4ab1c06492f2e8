"""Where specs, profiles and blocks are kept: etcd's v2 API, and a memory twin."""
