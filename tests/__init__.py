"""The tests: unit, contract, integration and acceptance."""
