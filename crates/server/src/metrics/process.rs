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
    use std::fmt;

    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};
    use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
    use prometheus_client::metrics::counter::ConstCounter;
    use prometheus_client::metrics::gauge::ConstGauge;

    struct Seen {
        cpu_seconds: f64,
        start_seconds: f64,
        resident_bytes: u64,
        virtual_bytes: u64,
        threads: i64,
        open_files: usize,
        most_files: Option<u64>,
    }

    pub(super) fn encode(mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Without access to /proc, the metric is left out.
        let Ok(seen) = look() else { return Ok(()) };
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

    fn look() -> ProcResult<Seen> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let most_files = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        };
        Ok(Seen {
            cpu_seconds: in_seconds(stat.utime + stat.stime),
            start_seconds: in_seconds(boot_time_secs()? * ticks_per_second() + stat.starttime),
            resident_bytes: stat.rss * page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads,
            open_files: process.fd_count()?,
            most_files,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds fit for ages")]
    fn in_seconds(ticks: u64) -> f64 {
        ticks as f64 / ticks_per_second() as f64
    }
}
