"""What an event costs as LinkJolt grows: `python -m loadtests.scaling`."""
