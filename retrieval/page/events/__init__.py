"""What the page's events do, a module a subject; `PageEvents` has them all."""
