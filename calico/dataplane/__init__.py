"""Links, routes and the nftables table of one host: observe, render, plan, apply."""
