//! How fast topics are read: every record is looked at, and counted.
//!
//! `cargo run --release -p kurier-kafka --example consume -- 127.0.0.1:9092 TOPIC [RECORDS] [key=value …]` prints records per second and per second of
//! this process's CPU time. Without a number it stops when it has caught up. Pairs are consumer properties.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use kurier_kafka::batch::Scratch;
use kurier_kafka::consumer::{Consumer, ConsumerConfig};

/// CPU time of this process, user and system.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: consume HOST:PORT TOPIC [RECORDS] [key=value …]";
    let (broker, topic) = args.next().zip(args.next()).ok_or(usage)?;
    let mut wanted = None;
    let mut properties = BTreeMap::from([
        ("bootstrap.servers".to_owned(), broker),
        ("auto.offset.reset".to_owned(), "earliest".to_owned()),
        ("max.poll.records".to_owned(), "100000".to_owned()),
    ]);
    for arg in args {
        match arg.split_once('=') {
            Some((key, value)) => drop(properties.insert(key.to_owned(), value.to_owned())),
            None => wanted = Some(arg.parse::<u64>()?),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let consumer = Consumer::new(ConsumerConfig::parse(&properties)?);
        let partitions = consumer.partitions_for(&topic).await?;
        let (start, cpu) = (Instant::now(), cpu_time()?);
        consumer.assign(partitions);
        let mut scratch = Scratch::default();
        let (mut records, mut bytes, mut polls) = (0_u64, 0_usize, 0_u64);
        loop {
            let polled = consumer.poll(Instant::now() + Duration::from_secs(1)).await?;
            polls += 1;
            for batch in &polled.batches {
                for record in &batch.open(&mut scratch)? {
                    let record = record?;
                    records += 1;
                    bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                }
            }
            if wanted.map_or(consumer.caught_up(), |wanted| records >= wanted) {
                break;
            }
        }
        let (elapsed, cpu) = (start.elapsed(), cpu_time()?.saturating_sub(cpu));
        let rate = |time: Duration| records as f64 / time.as_secs_f64().max(0.001);
        println!(
            "{records} records, {bytes} bytes, {polls} polls, {:.2} s: {:.0} rec/s; {:.2} s of CPU: {:.0} rec/core-s",
            elapsed.as_secs_f64(),
            rate(elapsed),
            cpu.as_secs_f64(),
            rate(cpu)
        );
        consumer.close(Duration::from_secs(5)).await?;
        Ok(())
    })
}
