"""The fixture for the tests of people who have tasks."""
