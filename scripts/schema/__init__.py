"""The AWS provider's schema, extracted once from where PyPI has it."""
