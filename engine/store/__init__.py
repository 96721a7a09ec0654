from engine.store.sqlite import SqliteStore, sqlite3


def open_store(settings,*,durable,waiting=lambda w:None): return SqliteStore(settings.data_dir/"jobyard.sqlite",durable=durable,waiting=waiting)
def prepare_store(settings):
    s=open_store(settings,durable=True); w=s.ping(); s.close(); return w
