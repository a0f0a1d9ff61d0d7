"""The signatory's agent."""
