// A worker in Go, with the standard library only. The context tells the work to stop.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

const (
	task   = "count-in-go"
	leaseS = 15
)

var client = &http.Client{Timeout: 90 * time.Second}

type object = map[string]any

type lease struct {
	JobID   string         `json:"job_id"`
	Epoch   int64          `json:"epoch"`
	Payload map[string]any `json:"payload"`
}

// ask sends a request and decodes the answer; the status is 0 when nothing answers.
func ask(method, path string, body, answer any) int {
	url := os.Getenv("JOBYARD_URL")
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	text, _ := json.Marshal(body)
	request, _ := http.NewRequest(method, url+path, bytes.NewReader(text))
	request.Header.Set("Content-Type", "application/json")
	if token := os.Getenv("JOBYARD_TOKEN"); token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if json.NewDecoder(response.Body).Decode(answer) != nil {
		return 0
	}
	return response.StatusCode
}

// work is your work: it gets the payload and returns the result, and stops when the context is done.
func work(ctx context.Context, payload object) (any, error) {
	seconds, _ := payload["seconds"].(float64)
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return object{"by": "go"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// extend keeps the lease until the context is done; it ends the context when the lease is lost or cancellation was requested.
func extend(ctx context.Context, stop context.CancelFunc, job string, epoch int64) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaseS * time.Second / 3):
		}
		answer := object{}
		status := ask("POST", job+"/extend", object{"epoch": epoch, "lease_s": leaseS}, &answer)
		if status == 409 {
			log.Println("lost the lease of", job)
		}
		if status == 409 || answer["cancel_requested"] == true {
			stop()
		}
	}
}

// run works on one job, and stops when its lease is lost or cancellation was requested.
func run(one lease) {
	job := "/api/jobs/" + one.JobID
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go extend(ctx, stop, job, one.Epoch)
	result, err := work(ctx, one.Payload)
	answer := object{}
	if err == nil {
		ask("POST", job+"/complete", object{"epoch": one.Epoch, "result": result}, &answer)
		return
	}
	log.Println(one.JobID, err)
	ask("POST", job+"/fail", object{"epoch": one.Epoch, "error": err.Error(), "cancelled": ctx.Err() != nil}, &answer)
}

func main() {
	ask("PUT", "/api/tasks/"+task, object{"timeout_s": 300}, &object{})
	wanted := object{"worker": fmt.Sprint("go ", os.Getpid()), "tasks": []string{task}, "lease_s": leaseS, "wait_s": 30}
	for {
		leases := []lease{}
		if ask("POST", "/api/leases", wanted, &leases) != 200 {
			time.Sleep(2 * time.Second)
			continue
		}
		for _, one := range leases {
			run(one)
		}
	}
}
