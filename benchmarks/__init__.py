"""What is measured, and what is tried for long; results/ has the figures."""
