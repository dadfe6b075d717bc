"""Tidemill's engine: feeds become governed Delta tables, in a lake lane and in a fast lane."""
