//! temp
use crate::*;
#[tokio::test(flavor = "multi_thread")]
async fn zz_speed() {
    let cluster = learnt(1, 1).await;
    let mut client = cluster.serving(0);
    let all = trips(0..4, 0.0);
    for (what, raw) in [("raw", true), ("keys", false), ("keys again", false)] {
        let started = std::time::Instant::now();
        for trip in &all {
            let rows = if raw { inputs(std::slice::from_ref(trip)) } else { keys(std::slice::from_ref(trip)) };
            client.predict(request(rows, raw)).await.unwrap();
        }
        println!("{what}: {:?} per request", started.elapsed() / all.len() as u32);
    }
    let started = std::time::Instant::now();
    for _ in 0..20 { client.predict(request(keys(&all), false)).await.unwrap(); }
    println!("800 rows: {:?} per request", started.elapsed() / 20);
    let tasks: Vec<_> = (0..16).map(|_| { let mut client = client.clone(); let all = all.clone(); tokio::spawn(async move {
        for trip in &all { client.predict(request(keys(std::slice::from_ref(trip)), false)).await.unwrap(); }
    })}).collect();
    let started = std::time::Instant::now();
    for task in tasks { task.await.unwrap(); }
    let _ = 1;
    println!("16 askers: {:.0} per second", 16.0 * all.len() as f64 / started.elapsed().as_secs_f64());

    let out = tokio::process::Command::new("curl").args(["-s", &cluster.metrics_url()]).output().await.unwrap();
    for line in String::from_utf8_lossy(&out.stdout).lines().filter(|l| l.contains("covey_prediction_duration") || (l.contains("request_duration") && l.contains("Predict"))) { println!("{line}"); }
}
