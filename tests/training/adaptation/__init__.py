"""Tests of adaptation without labels."""
