//! How fast records are sent and acknowledged.
//!
//! `cargo run --release -p kurier-kafka --example produce -- 127.0.0.1:9092 TOPIC RECORDS BYTES [key=value …]` prints records per second and per second
//! of this process's CPU time. Pairs are producer properties.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kurier_kafka::producer::{Delivery, Destination, ProduceBatch, Producer, ProducerConfig};

/// Records that are handed over at a time, about as many as a task polls.
const BATCH: u64 = 2_000;

/// CPU time of this process, user and system.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn count(deliveries: Vec<Delivery>, told: &mut u64) -> Result<(), Box<dyn Error>> {
    for delivery in deliveries {
        delivery.outcome?;
        *told += delivery.tickets.end - delivery.tickets.start;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (positional, pairs): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| !arg.contains('='));
    let [broker, topic, records, size] = positional[..] else {
        return Err("usage: produce HOST:PORT TOPIC RECORDS BYTES [key=value …]".into());
    };
    let (records, size) = (records.parse::<u64>()?, size.parse::<usize>()?);
    let mut properties = BTreeMap::from([("bootstrap.servers".to_owned(), broker.clone())]);
    properties.extend(pairs.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
    let value: Vec<u8> = b"earthquakes of magnitude ".iter().copied().cycle().take(size).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let producer = Producer::new(ProducerConfig::parse(&properties)?);
        let topic: Arc<str> = topic.as_str().into();
        let (start, cpu) = (Instant::now(), cpu_time()?);
        let (mut batch, mut sent, mut told) = (ProduceBatch::default(), 0, 0);
        while sent < records {
            for ticket in sent..records.min(sent + BATCH) {
                let mut draft = batch.draft();
                draft.value(|bytes| {
                    bytes.extend_from_slice(&value);
                    Ok::<_, Box<dyn Error>>(true)
                })?;
                draft.finish(ticket, Destination { topic: &topic, partition: None, timestamp: None });
            }
            sent += batch.len() as u64;
            producer.send(&mut batch).await?;
            count(producer.take_deliveries(), &mut told)?;
        }
        while told < records {
            count(producer.deliveries(Instant::now() + Duration::from_secs(1)).await, &mut told)?;
        }
        let (elapsed, cpu) = (start.elapsed(), cpu_time()?.saturating_sub(cpu));
        let rate = |time: Duration| records as f64 / time.as_secs_f64().max(0.001);
        println!(
            "{records} records of {size} bytes, {:.2} s: {:.0} rec/s; {:.2} s of CPU: {:.0} rec/core-s",
            elapsed.as_secs_f64(),
            rate(elapsed),
            cpu.as_secs_f64(),
            rate(cpu)
        );
        Ok(())
    })
}
