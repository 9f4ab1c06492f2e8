"""One nftables table: written, looked at, walked, and put into words."""
