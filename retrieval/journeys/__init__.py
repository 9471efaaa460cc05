"""The ways of vehicles: passes of cameras joined without labels, and what people say of the links."""
