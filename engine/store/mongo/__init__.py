"""The store on MongoDB, which several hosts may share."""
