"""The services, without what lies outside them."""
