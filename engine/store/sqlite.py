from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

try:
    import pysqlite3.dbapi2 as sqlite3
except ImportError:
    import sqlite3
from engine.errors import InvalidRequest, StoreUnavailable
from engine.job import Execution, ExecutionStatus, Job, Status, Ticket
from engine.store.port import Abandoned, Claimed, Inserted, KeyTaken, Page

EPOCH = datetime(1970,1,1,tzinfo=UTC)
MS = timedelta(milliseconds=1)
def ms(at): return None if at is None else round((at-EPOCH)/MS)
def at(v): return None if v is None else datetime.fromtimestamp(v/1000,UTC)
TIMES={"scheduled_at","created_at","updated_at","claimed_at","queued_at","locked_until","last_run_at","next_run_at","finished_at","cancel_requested_at"}
COLS=[f for f in Job.__struct_fields__]
ENC=[("t" if c in TIMES else "id" if c=="job_id" else "s" if c=="status" else "") for c in COLS]
def to_row(j):
    out=[]
    for c,e in zip(COLS,ENC):
        v=getattr(j,c)
        out.append(ms(v) if e=="t" else bytes.fromhex(v) if e=="id" else str(v) if e=="s" else v)
    return out
def to_job(r):
    kw={}
    for c,e,v in zip(COLS,ENC,r):
        kw[c]=at(v) if e=="t" else bytes(v).hex() if e=="id" else Status(v) if e=="s" else v
    return Job(**kw)
SEL="SELECT "+",".join(COLS)+" FROM jobs "
class SqliteStore:
    def __init__(self, path:Path, *, durable:bool, waiting=lambda w:None):
        self._lock=os.open(path.with_suffix(".lock"),os.O_RDWR|os.O_CREAT|os.O_CLOEXEC,0o600)
        self._waiting=waiting
        self._db=sqlite3.connect(str(path),isolation_level=None,timeout=2,cached_statements=256)
        self._path=path
        x=self._db.execute
        x("PRAGMA journal_mode=WAL"); x("PRAGMA wal_autocheckpoint=0"); x(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}"); x("PRAGMA cache_size=-8000")
        if x("PRAGMA user_version").fetchone()[0]==0:
            with self._tx():
                if x("PRAGMA user_version").fetchone()[0]==0:
                    for st in Path(__file__).with_name("schema.sql").read_text().split(";"):
                        if st.strip(): x(st)
                    x("PRAGMA user_version=1")
    @contextlib.contextmanager
    def _tx(self):
        try: fcntl.flock(self._lock,fcntl.LOCK_EX|fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiting(True); fcntl.flock(self._lock,fcntl.LOCK_EX); self._waiting(False)
        try:
            self._deltas={}
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                for s,n in self._deltas.items():
                    if n: self._db.execute("UPDATE counts SET jobs=jobs+? WHERE status=?",(n,s))
                self._db.execute("COMMIT")
            except BaseException as e:
                if self._db.in_transaction: self._db.execute("ROLLBACK")
                if isinstance(e,sqlite3.OperationalError): raise StoreUnavailable(str(e)) from e
                raise
            try:
                if os.stat(str(self._path)+"-wal").st_size>4<<20: self._db.execute("PRAGMA wal_checkpoint(RESTART)")
            except OSError: pass
        finally: fcntl.flock(self._lock,fcntl.LOCK_UN)
    def _delta(self,s,n): self._deltas[str(s)]=self._deltas.get(str(s),0)+n
    def insert(self, requests, *, abandoned=lambda n:False):
        res=[]
        with self._tx():
            for i,jobs in enumerate(requests):
                if abandoned(i): res.append(Abandoned()); continue
                ids=[];new=[];rep=0;bad=None;seen={}
                for k,j in enumerate(jobs):
                    if j.idempotency_key is not None:
                        f=seen.get(j.idempotency_key) or self._db.execute("SELECT job_id,request_digest FROM jobs WHERE idempotency_key=?",(j.idempotency_key,)).fetchone()
                        if f:
                            if bytes(f[1])!=j.request_digest: bad=KeyTaken(index=k,job_id=bytes(f[0]).hex()); break
                            fid=bytes(f[0]).hex(); ids.append(fid); rep+=fid!=j.job_id; continue
                        seen[j.idempotency_key]=(bytes.fromhex(j.job_id),j.request_digest)
                    ids.append(j.job_id); new.append(to_row(j))
                if bad: res.append(bad); continue
                c=self._db.executemany(INSERT,new)
                self._delta("pending",c.rowcount if new else 0)
                res.append(Inserted(job_ids=ids,repeated=rep))
        return res
    def find(self,job_ids):
        out=[]
        for j in job_ids:
            r=self._db.execute(SEL+"WHERE job_id=?",(bytes.fromhex(j),)).fetchone()
            out.append(to_job(r) if r else None)
        return out
    def list(self,wanted,*,limit,cursor=None,max_bytes=8<<20):
        q="SELECT seq,"+",".join(COLS)+" FROM jobs WHERE seq<?";a=[1<<62]
        if cursor is not None:
            if not cursor.isdigit() or len(cursor)>18: raise InvalidRequest("invalid_cursor","no cursor of ours","cursor")
            a[0]=int(cursor)
        for n in ("status","task","queue"):
            v=getattr(wanted,n)
            if v is not None: q+=f" AND {n}=?"; a.append(str(v))
        q+=" ORDER BY seq DESC LIMIT ?"; a.append(limit+1)
        jobs=[];size=0;last=None
        for r in self._db.execute(q,a):
            if len(jobs)>=limit or size>max_bytes: return Page(jobs=jobs,cursor=str(last))
            j=to_job(r[1:]); jobs.append(j); last=r[0]; size+=len(j.payload)+len(j.result or b"")
        return Page(jobs=jobs,cursor=None)
    def counts(self): return {Status(s):n for s,n in self._db.execute("SELECT status,jobs FROM counts")}
    def next_due(self,*,limits):
        best=None
        for p,l in enumerate(limits):
            if l>0:
                v=self._db.execute("SELECT MIN(scheduled_at) FROM jobs INDEXED BY jobs_due WHERE status='pending' AND priority=?",(p,)).fetchone()[0]
                if v is not None and (best is None or v<best): best=v
        return at(best)
    def claim_due(self,*,owner,now,limits):
        n=ms(now)
        if not any(l>0 and self._db.execute("SELECT 1 FROM jobs INDEXED BY jobs_due WHERE status='pending' AND priority=? AND scheduled_at<=? LIMIT 1",(p,n)).fetchone() for p,l in enumerate(limits)):
            return Claimed(tickets=[])
        ts=[]
        with self._tx():
            for p in range(9,-1,-1):
                if limits[p]<=0: continue
                rows=self._db.execute("SELECT seq,job_id,epoch,task,queue,priority,scheduled_at,attempt FROM jobs INDEXED BY jobs_due WHERE status='pending' AND priority=? AND scheduled_at<=? ORDER BY scheduled_at,seq LIMIT ?",(p,n,limits[p])).fetchall()
                self._db.executemany("UPDATE jobs SET status='queued',epoch=epoch+1,claimed_by=?,claimed_at=?,queued_at=?,updated_at=? WHERE seq=?",[(owner,n,n,n,r[0]) for r in rows])
                ts+=[Ticket(job_id=bytes(r[1]).hex(),epoch=r[2]+1,task=r[3],queue=r[4],priority=r[5],scheduled_at=at(r[6]),attempt=r[7]) for r in rows]
            self._delta("pending",-len(ts)); self._delta("queued",len(ts))
        return Claimed(tickets=ts)
    def apply(self,changes):
        if not changes: return []
        out=[]
        with self._tx():
            for c in changes:
                names=tuple(c.fields)
                q="UPDATE jobs SET "+",".join(f"{n}=?" for n in names)+" WHERE job_id=? AND status=? AND epoch=?"+(" AND cancel_requested_at IS NULL" if c.unless_cancelled else "")
                vals=[ms(v) if n in TIMES else str(v) if n=="status" else v for n,v in c.fields.items()]
                ok=self._db.execute(q,(*vals,bytes.fromhex(c.job_id),str(c.status),c.epoch)).rowcount==1
                out.append(ok)
                if ok:
                    self._delta(c.status,-1); self._delta(c.fields["status"],1)
                    e=c.execution
                    if e: self._db.execute("INSERT OR REPLACE INTO job_executions VALUES (?,?,?,?,?,?,?,?,?)",(bytes.fromhex(e.job_id),e.attempt,e.worker_id,str(e.status),ms(e.started_at),ms(e.finished_at),e.duration_ms,e.error_message,e.traceback))
        return out
    H="status IN ('claimed','queued','running')"
    def held_by(self,owner,*,limit,after=None):
        return [to_job(r) for r in self._db.execute(SEL+f"WHERE COALESCE(locked_by,claimed_by)=? AND {self.H} AND job_id>? ORDER BY job_id LIMIT ?",(owner,bytes.fromhex(after) if after else b"",limit))]
    def holders(self):
        out=[];cur=""
        while True:
            r=self._db.execute(f"SELECT MIN(COALESCE(locked_by,claimed_by)) FROM jobs WHERE {self.H} AND COALESCE(locked_by,claimed_by)>?",(cur,)).fetchone()[0]
            if r is None: return out
            out.append(r);cur=r
    def cancel_requests(self,owner):
        return [bytes(r[0]).hex() for r in self._db.execute(f"SELECT job_id FROM jobs WHERE COALESCE(locked_by,claimed_by)=? AND {self.H} AND cancel_requested_at IS NOT NULL",(owner,))]
    def executions(self,job_id):
        return [Execution(execution_id=f"{job_id}-{r[1]}",job_id=job_id,attempt=r[1],worker_id=r[2],status=ExecutionStatus(r[3]),started_at=at(r[4]),finished_at=at(r[5]),duration_ms=r[6],error_message=r[7],traceback=r[8]) for r in self._db.execute("SELECT * FROM job_executions WHERE job_id=? ORDER BY attempt",(bytes.fromhex(job_id),))]
    def purge(self,*,before,limit):
        rows=self._db.execute("SELECT seq,job_id,status FROM jobs WHERE finished_at<? ORDER BY finished_at LIMIT ?",(ms(before),limit)).fetchall()
        if not rows: return 0
        n=0
        with self._tx():
            for s,j,st in rows:
                if self._db.execute("DELETE FROM jobs WHERE seq=? AND finished_at<?",(s,ms(before))).rowcount:
                    n+=1; self._delta(st,-1); self._db.execute("DELETE FROM job_executions WHERE job_id=?",(j,))
        return n
    def ping(self):
        self._db.execute("SELECT 1 FROM counts LIMIT 1").fetchone(); return f"SQLite {sqlite3.sqlite_version}"
    def close(self): self._db.close(); os.close(self._lock)
INSERT="INSERT INTO jobs ("+",".join(COLS)+") VALUES ("+",".join("?"*len(COLS))+") ON CONFLICT(job_id) DO NOTHING"
