"""Networks, and what containers have of them."""
