"""Why a job is not running: the facts that are needed, and the rules that turn them into reasons. Nothing is asked here."""
