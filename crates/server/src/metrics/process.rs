//! Metrics of the process, by the standard names of Prometheus clients. Only on Linux.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

#[derive(Debug)]
pub(crate) struct Process;

impl Collector for Process {
    #[cfg(target_os = "linux")]
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        linux::encode(encoder)
    }

    #[cfg(not(target_os = "linux"))]
    fn encode(&self, _: DescriptorEncoder<'_>) -> fmt::Result {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{fmt, fs};

    use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
    use prometheus_client::metrics::counter::ConstCounter;
    use prometheus_client::metrics::gauge::ConstGauge;
    use rustix::param::{clock_ticks_per_second, page_size};
    use rustix::process::{Resource, getrlimit};

    struct Seen {
        cpu_seconds: f64,
        start_seconds: f64,
        resident_bytes: u64,
        virtual_bytes: u64,
        threads: u64,
        open_files: usize,
        most_files: Option<u64>,
    }

    pub(super) fn encode(mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Without access to /proc, the metric is left out.
        let Some(seen) = look() else { return Ok(()) };
        let mut show = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let cpu = ConstCounter::new(seen.cpu_seconds);
        show("process_cpu_seconds", "User and system CPU time used in seconds.", &cpu)?;
        let start = ConstGauge::new(seen.start_seconds);
        show("process_start_time_seconds", "When the process started, in Unix time.", &start)?;
        let resident = ConstGauge::new(seen.resident_bytes);
        show("process_resident_memory_bytes", "Resident memory in bytes.", &resident)?;
        let size = ConstGauge::new(seen.virtual_bytes);
        show("process_virtual_memory_bytes", "Virtual memory in bytes.", &size)?;
        show("process_threads", "Threads of the process.", &ConstGauge::new(seen.threads))?;
        let open = ConstGauge::new(seen.open_files);
        show("process_open_fds", "Open file descriptors.", &open)?;
        seen.most_files.map_or(Ok(()), |most| {
            let help = "How many file descriptors may be open.";
            show("process_max_fds", help, &ConstGauge::new(most))
        })
    }

    /// `None` if the files of /proc can't be read.
    fn look() -> Option<Seen> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name before it, in parentheses, may contain spaces.
        let (_, stat) = stat.rsplit_once(") ")?;
        let fields: Vec<u64> = stat.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
        // As numbered in proc_pid_stat(5).
        let field = |number: usize| fields.get(number - 3).copied();
        let system = fs::read_to_string("/proc/stat").ok()?;
        let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
        let booted: u64 = booted.trim().parse().ok()?;
        Some(Seen {
            cpu_seconds: in_seconds(field(14)? + field(15)?),
            start_seconds: in_seconds(booted * clock_ticks_per_second() + field(22)?),
            resident_bytes: field(24)? * u64::try_from(page_size()).ok()?,
            virtual_bytes: field(23)?,
            threads: field(20)?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count(),
            most_files: getrlimit(Resource::Nofile).current,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds fit for ages")]
    fn in_seconds(ticks: u64) -> f64 {
        ticks as f64 / clock_ticks_per_second() as f64
    }
}
