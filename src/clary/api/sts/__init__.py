"""STS: identities and temporary credentials."""
