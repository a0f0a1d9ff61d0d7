"""The signatory's agent: an HTTP service on their own computer, which signs what a portal asks once they agree."""
