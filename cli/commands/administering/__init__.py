"""Commands of those who administer a collectivité."""
