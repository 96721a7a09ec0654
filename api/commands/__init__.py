"""The commands of `jobyard` besides starting and stopping."""
