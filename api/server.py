import json
import threading

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from engine.process_control import die_with_parent
from engine.wire.caller import Caller, NoAnswer
from engine.wire.messages import *
from engine.world import World


def make(settings,ports,run_dir):
    app=Flask(__name__); w=World(); c=Caller(run_dir,w); lock=threading.Lock(); n=[0]
    def sched():
        n[0]+=1; s=run_dir.components("scheduler"); return s[n[0]%len(s)]
    def ans(r,ok=200):
        if isinstance(r,Json): return Response(r.body,ok,mimetype="application/json")
        if isinstance(r,Refused): return Response(json.dumps({"error":{"code":r.code,"message":r.message,"field":r.field}}),{"not_found":404,"conflict":409}.get(r.code,503 if r.retry_after_s else 400),mimetype="application/json")
    def submit(form,cnt):
        with lock: fid=w.reserve_ids(cnt)
        m=Submit(form=form,body=request.get_data(),first_id=fid,deadline=w.monotonic()+8,idempotency_key=request.headers.get("Idempotency-Key"))
        for _ in range(3):
            try: r=c.call(sched(),m,timeout_s=3); break
            except NoAnswer as e: r=Refused(code="no_scheduler",message=str(e),retry_after_s=1)
        if isinstance(r,Accepted): return Response(json.dumps({"job_id":r.job_ids[0],"status":"pending","message":"ok"} if form=="job" else {"job_ids":r.job_ids}),201,mimetype="application/json")
        return ans(r)
    @app.post("/api/jobs")
    def a(): return submit("job",1)
    @app.post("/api/jobs/batch")
    def b(): return submit("batch",10000)
    @app.get("/jobs")
    def l(): return ans(c.call(sched(),List(limit=int(request.args.get("limit",100)),status=request.args.get("status"),cursor=request.args.get("cursor")),timeout_s=3))
    @app.get("/job")
    def f(): return ans(c.call(sched(),Find(job_id=request.args["job_id"]),timeout_s=3))
    @app.get("/stats")
    def s():
        name=ports[int(request.environ["SERVER_PORT"])]
        if not name.startswith("gateway"): return ans(c.call(name,GetStats(),timeout_s=1))
        o={"jobs":json.loads(c.call(sched(),CountJobs(),timeout_s=2).body),"processes":[],"components":{}}
        for k,v in c.call_all(run_dir.components(),GetStats(),timeout_s=1).items():
            if k.startswith("supervisor"): o["processes"]=json.loads(v.body)["processes"]
            else: o["components"][k]=json.loads(v.body) if v else {"error":"no answer"}
        return o
    @app.get("/queue")
    def q(): return ans(c.call(run_dir.components("queue")[0],GetItems(limit=100),timeout_s=1))
    @app.get("/health")
    def h(): 
        o={k:v and (v.body.decode() if isinstance(v,Json) else v.message) for k,v in c.call_all(run_dir.components(),Ping(),timeout_s=1).items()}
        return o,200 if all(o.values()) else 503
    @app.post("/api/jobs/<j>/cancel")
    def ca(j): return ans(c.call(sched(),CancelJob(job_id=j),timeout_s=3))
    @app.post("/api/jobs/<j>/retry")
    def re(j): return ans(c.call(sched(),RetryJob(job_id=j),timeout_s=3))
    @app.get("/api/jobs/<j>/executions")
    def ex(j): return ans(c.call(sched(),ListExecutions(job_id=j),timeout_s=3))
    return app
def serve_front(*,settings,ports,listeners,run_dir,world,log,heartbeat,parent,name):
    die_with_parent(parent)
    class Ar(Arbiter):
        def murder_workers(self): heartbeat.beat(); super().murder_workers()
    class App(BaseApplication):
        def load_config(self):
            c=self.cfg.set
            c("bind",[f"fd://{s.fileno()}" for s in listeners.values()]); c("workers",2); c("threads",32); c("worker_class","gthread"); c("keepalive",75); c("timeout",10); c("loglevel","error")
            try: c("control_socket_disable",True)
            except Exception: pass
            c("post_fork",lambda s,wk:die_with_parent(wk.ppid))
        def load(self): return make(settings,ports,run_dir)
    Ar(App()).run(); return 0
